"""Labels that people give by hand: what one is, where they are kept, how they are read and written, and the page they are given on."""
