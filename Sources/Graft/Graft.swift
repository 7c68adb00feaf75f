// Everything a user of the library needs with one import.
@_exported public import Adapters
@_exported public import Checkpoints
@_exported public import Collectives
@_exported public import Datasets
@_exported public import Distributed
@_exported public import Layers
@_exported public import Models
@_exported public import Optimizers
@_exported public import Quantization
@_exported public import Tensors
@_exported public import Tokenizers
@_exported public import Training
