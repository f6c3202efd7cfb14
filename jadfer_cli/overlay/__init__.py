"""A result on its video: drawn again, with the faces blurred, or as a page beside its curves.

Faces are detected here only to check a blurred video. The folder `page` holds what `view` puts
into its page.
"""
