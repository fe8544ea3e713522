# Way 5, the script: the function that use-code-string.sh asks for a node. Whatever the key, it is the same one.

def get(key):
    return '127.0.0.1:3031'
