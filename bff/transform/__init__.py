"""Expressions over JSON trees: JMESPath compiled to typed closures, CEL conditions."""
