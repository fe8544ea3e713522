<?xml version="1.0"?>
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:output method="html" encoding="UTF-8"/>
  <xsl:param name="title">News</xsl:param>
  <xsl:template match="/news">
    <html>
      <head><title><xsl:value-of select="$title"/></title></head>
      <body><ul><xsl:for-each select="item"><li><xsl:value-of select="."/></li></xsl:for-each></ul></body>
    </html>
  </xsl:template>
</xsl:stylesheet>
