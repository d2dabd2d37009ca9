"""Actions to embeddings, one per frame, that can be hidden frame by frame. Knows nothing about what an action means."""

from torch import Tensor, nn


class ActionEmbedding(nn.Module):
    """An MLP whose output is multiplied by 0 where the action is hidden (Vid2World's action dropout: no learned null token)."""

    def __init__(self, action_size: int, embedding: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(action_size, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )

    def forward(self, actions: Tensor, known: Tensor) -> Tensor:
        """Actions `[B, 1, T, A]` and known `[B, S, T]` to embeddings `[B, S, T, E]`."""
        return self.layers(actions) * known[..., None].to(actions.dtype)
