"""How long does a training step take on a card, and on many? A roofline from shapes, without torch.

One micro-batch of T tokens on one card, P the parameters that are multiplied with (all but the
embeddings that are looked up), A those of the adapter, S the tokens of a row:

    forward      2 P T operations, and 2 L Q S T for causal attention
    backward     the same for the inputs' gradients, the same again for the weights' (full only; an
                 adapter's take 2 A T), and with gradient checkpointing forward once more
    products     operations / (TFLOP/s x EFFICIENCY)
    elementwise  every kept byte is written, read, and read again while its gradient is written:
                 TOUCHES x kept bytes / memory bandwidth
    dequantize   4 and 8 bits: each pass reads the weights, and writes and reads them in 16 bits
    launches     a layer starts KERNELS kernels for each micro-batch; a small model waits for them
    update       once a step: weights, gradients and moments of what is trained, read and written

Many cards, in each of them and in one direction, with n processes and (n - 1) / n of each tensor on
the way (Rajbhandari et al. 2020, ZeRO, section 7; a ring crosses each wire once):

    ZeRO 0 to 2  once a step: gradients out and sums (ZeRO 1 and 2: weights) back
    ZeRO 3, FSDP for each micro-batch: 16-bit weights twice (forward, backward), gradients once
    wire         of the slower of both: cards of a node by their link, nodes by the network, whose
                 bandwidth a ring through all cards uses once in each direction
    on the host  gradients there and weights back over PCIe, and Adam at the host's memory bandwidth

Communication is added, not hidden behind the products: an upper bound on its cost.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from hanlin.models.cards import Card
from hanlin.models.info import ModelInfo
from hanlin.models.memory import (
    ADAM_BYTES,
    Training,
    adapter_parameters,
    base_bytes,
    input_embeddings,
    layer_bytes,
    linear_parameters,
    trained_parameters,
)

EFFICIENCY = 0.75  # of the dense peak; torchtune's published rows reach 0.48 to 0.96 (docs/plan.md)
TOUCHES = 4
KERNELS = 100  # of a layer, forward and back
LAUNCH_SECONDS = 5e-6  # to start one from Python
HOST_BANDWIDTH = 150.0  # GB/s of a host's memory: two sockets of six channels of DDR4
PCIE = 12.0  # GB/s, PCIe 3.0 x16
NETWORK = 12.5  # GB/s between nodes: 100 Gbit/s


@dataclass(frozen=True)
class Cluster:
    """The cards that train together.

    Attributes:
        card: each of them.
        nodes: machines.
        network: GB/s between two machines, in one direction.
    """

    card: Card
    nodes: int = 1
    network: float = NETWORK


@dataclass(frozen=True)
class StepTime:
    """Seconds of one update of the weights, by what takes them."""

    products: float
    elementwise: float
    dequantize: float
    launches: float
    update: float
    communication: float

    @property
    def total(self) -> float:
        """Return the sum."""
        return sum(getattr(self, field.name) for field in fields(self))

    def as_dict(self) -> dict[str, float]:
        """Return the parts and their sum, in seconds."""
        parts = {name: round(value, 4) for name, value in asdict(self).items()}
        return {**parts, "total": round(self.total, 4)}


def step_time(
    info: ModelInfo, training: Training, cluster: Cluster, *, accumulation: int = 1
) -> StepTime:
    """Estimate one step of `accumulation` micro-batches in each process."""
    card = cluster.card
    passes = 3 if training.is_recomputing else 2
    kept = training.tokens * info.layers * layer_bytes(info, training)
    products = operations(info, training) / (card.tflops * 1e12 * EFFICIENCY)
    elementwise = TOUCHES * kept / (card.bandwidth * 1e9)
    dequantize = passes * _dequantized(info, training) / (card.bandwidth * 1e9)
    starting = KERNELS * LAUNCH_SECONDS * info.layers  # beside the work, where there is enough
    return StepTime(
        products=accumulation * products,
        elementwise=accumulation * elementwise,
        dequantize=accumulation * dequantize,
        launches=accumulation * max(0.0, starting - products - elementwise - dequantize),
        update=_update_seconds(info, training, card),
        communication=traffic(info, training, accumulation=accumulation) / (_wire(cluster) * 1e9),
    )


def operations(info: ModelInfo, training: Training) -> float:
    """Return the floating-point operations of one micro-batch in one process."""
    multiplied = info.parameters - input_embeddings(info)
    attention = 2 * info.layers * info.heads * info.head_size * training.seq_len
    forward = (2 * multiplied + attention) * training.tokens
    backward = forward + attention * training.tokens
    if training.method == "full":
        backward += 2 * multiplied * training.tokens
    else:
        adapter = adapter_parameters(info, rank=training.rank, adapted=training.adapted)
        backward += 6 * adapter * training.tokens
    return forward * (2 if training.is_recomputing else 1) + backward


def traffic(info: ModelInfo, training: Training, *, accumulation: int = 1) -> float:
    """Return the bytes that each process sends in a step."""
    processes = training.processes
    if processes == 1:
        return 0.0
    trained = trained_parameters(info, training)
    share = (processes - 1) / processes
    gradients = (2 if training.is_pure else 4) * trained
    if training.zero_stage < 3:
        return share * 2 * gradients
    width_method = "lora" if training.method == "full" else training.method
    weights = base_bytes(info, method=width_method, precision=training.precision)
    return share * accumulation * (2 * weights + gradients)


def _wire(cluster: Cluster) -> float:
    """Return the GB/s of the slowest wire of a ring through all cards."""
    return cluster.card.link if cluster.nodes == 1 else min(cluster.card.link, cluster.network)


def _dequantized(info: ModelInfo, training: Training) -> float:
    if training.method not in ("int8", "qlora"):
        return 0.0
    stored = {"int8": 1.0, "qlora": 0.5}[training.method]
    return (stored + 4) * linear_parameters(info)


def _update_seconds(info: ModelInfo, training: Training, card: Card) -> float:
    width = 2 if training.is_pure else 4
    trained = trained_parameters(info, training)
    mine = trained / (training.processes if training.zero_stage else 1)
    touched = mine * (3 * width + 2 * ADAM_BYTES[training.optimizer])
    if training.on_host == "none":
        return touched / (card.bandwidth * 1e9)
    # Every process of a node shares the host's memory: eight of them in a node.
    return 8 * touched / (HOST_BANDWIDTH * 1e9) + 2 * width * mine / (PCIE * 1e9)
