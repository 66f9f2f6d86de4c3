"""What ``hdrcli view`` shows of pictures: their light at the size of a screen, in a terminal or on a page of their own."""
