"""Tools of the developers: none of it is part of the operator."""
