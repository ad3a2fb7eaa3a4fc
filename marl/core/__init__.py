"""The hub says what a network, an environment, a policy, a critic, a table, an objective and a scheduler are."""
