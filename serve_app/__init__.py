"""What clients see: the HTTP surface, the command, and the drawing of the graph. Imports no torch."""
