"""A federation on machines that fail, in virtual time: the server's and the nodes' own code, whole, from a seed.

Only three things are stood in for: the wires between the machines (`network`), the machines themselves with their
clocks, disks and power (`machine`), and the process in which a node computes (`stage.Computing`). A `plan` says what
goes wrong, `stage` plays it, `judge` says what must hold whatever went wrong.
"""
