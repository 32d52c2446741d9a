"""Label Studio: a local server in an environment of its own, and a bridge that keeps every region.

A *task* is one picture with the people to review in it, a *prediction* what we show on it, an *annotation* what a
reviewer submits. These words are Label Studio's and stay in this package.
"""
