"""Line searches: how far to go along a descent direction.

φ(a) = J(θ + a d), with φ(0) and φ'(0) < 0 known. A search is called with a `Ray` and the first step to try, and gives a
`Sample`, or None where no step lowers φ in this precision. Each trial reads φ(a); its slope, one more read and a
gradient, is asked for only where the value alone does not reject the step. A value that is not finite rejects a step.
"""
