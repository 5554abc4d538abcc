"""The root of every error that a user can do something about."""


class UserError(Exception):
    """One paragraph that says what was found and the remedy. It is shown without a traceback, and never holds a secret
    or anything of a person."""
