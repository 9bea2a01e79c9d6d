"""A request as a caller meets it: handed to its agent, waited for, canceled, decided about, told in words."""
