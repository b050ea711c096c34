"""From a child's drawing to a picture, over HTTP: every promoted generator, and the drawing page.

Drawings come in through ``drawing`` and ``strokes``, wait in ``work``, are turned into pictures by
a network of ``engines`` that ``shelf`` holds, and leave through ``routes``.
"""
