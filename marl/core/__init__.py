"""The hub says what a network, an environment, a policy, a critic, a scheduler and a trainer are."""
