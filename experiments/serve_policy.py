"""`worldsim serve-policy`: any policy of ours behind openpi's wire, until it is interrupted."""

import signal
from typing import Any

from worldsim.errors import InvalidInput
from worldsim.experiments.schema import ServePolicyConfig


def run(config: ServePolicyConfig) -> None:
    """Serve until Ctrl-C or SIGTERM, which is how a server ends: exit code 0.

    Raises:
        WorldsimError: no such policy, a port that is taken, an address that others could reach.
    """
    from worldsim.load import part_facts, part_name
    from worldsim.policies.remote.address import secret_of
    from worldsim.policies.remote.serving import PolicyServer, describe, listening_address
    from worldsim.policies.remote.sessions import Sessions
    from worldsim.registry import POLICIES

    listening_address(config.host, config.port, allow_remote=config.allow_remote)
    secret, policy = secret_of(config.api_key_env), _policy(config)
    name, facts = part_name(config.policy), part_facts(POLICIES, config.policy)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = PolicyServer(Sessions(policy), describe(policy, name, _frame(config.policy), facts), secret)
    with server.listening(config.host, config.port) as listener:
        try:
            port = listener.socket.getsockname()[1]
            print(f"serving {name} at ws://{config.host}:{port}; Ctrl-C ends it", flush=True)
            listener.serve_forever()
        except KeyboardInterrupt:
            print("stopped", flush=True)


def _policy(config: ServePolicyConfig) -> Any:
    """The policy; one without an action of its own gets the world's.

    Raises:
        InvalidInput: a policy that plays what was recorded, goes by the horizon, or acts in any world and no world was named.
    """
    from worldsim.load import load_policy, load_world_model, part_config, part_name
    from worldsim.registry import POLICIES

    if getattr(part_config(POLICIES, config.policy), "needs_recording", False):
        name = part_name(config.policy)
        raise InvalidInput(f'policy "{name}" acts at recorded starts only, which clients do not have; serve another, as in: converged')
    if getattr(part_config(POLICIES, config.policy), "needs_horizon", False):
        raise InvalidInput("a relay that shares the horizon was given, and clients do not say theirs; give it steps: [NUMBER]")
    action = None if config.world_model is None else load_world_model(config.world_model).spec.action
    policy = load_policy(config.policy, action)
    if policy.action is None:
        raise InvalidInput("this policy acts in any world; type world_model=NAME to say what its actions mean")
    return policy


def _frame(policy: Any) -> tuple[int, int] | None:
    """(height, width) of the frames that a checkpoint was trained on; None where that is not written."""
    from worldsim.load import part_checkpoint
    from worldsim.registry import POLICIES

    checkpoint = part_checkpoint(POLICIES, policy) or {}
    side = checkpoint.get("network", {}).get("frame_size")
    return (side, side) if isinstance(side, int) else None
