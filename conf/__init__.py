"""The configuration groups that `marl train` composes; installed as `marl.conf`."""
