# Run by a helper (sh), so it need not be executable.
echo "Location: /elsewhere"
echo
