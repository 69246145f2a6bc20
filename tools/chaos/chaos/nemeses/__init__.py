"""Everything that is done to the mesh, one function a kind: it hurts, shows that it hurt, and repairs.

A function takes the world and gives nothing; what it did is a `fault` event of the history: its kind and nodes, when it began
(`start`), when all was repaired (`end`), and `effect`, what shows that it truly happened. Without an effect it does not count.
"""
