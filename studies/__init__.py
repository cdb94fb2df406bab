"""The record of every sweep in SQL: tables, writes, queries, fronts and closed-form curves."""
