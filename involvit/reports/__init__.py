"""What all reports are written with: blocks of text, tables and figures."""
