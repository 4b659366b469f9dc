"""What counts of a data set's conversations (items), what an answer says and earns (answers), and whether a stored one says what
it should (checks).
"""
