"""How fast and how light dockrion is, against a raw ASGI app and the bare framework.

``python -m benchmarks`` runs everything; ``python -m benchmarks burst --quick`` a part of it. What
is measured, and how, is told in ``docs/performance.md``.
"""
