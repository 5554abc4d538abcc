"""The asset definitions: thin bodies that call one of the rooms."""
