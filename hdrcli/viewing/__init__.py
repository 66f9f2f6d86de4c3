"""What ``hdrcli view`` shows of pictures: their light at the size of a screen, in a terminal or on a page of their own."""

USUAL = "reinhard"  # the operator where none is named: a page can compute it, and a terminal need not wait for a network
