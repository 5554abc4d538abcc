"""Raw rows to mapped tables: the field tables as data, the expressions, their meaning to the bit."""
