"""Running a bundle: answers of its model within its caps, in the terminal and over HTTP."""
