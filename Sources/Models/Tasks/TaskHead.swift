import Layers
import Tensors

/// The layers of a task behind a model: output(norm(f(dense(x)))), of which only the last has to be.
struct TaskHead {
  var dense: Linear?
  var activation = ActivationFunction.gelu
  var norm: LayerNorm?
  let output: Linear

  // `dropped` drops some of what the last layer reads.
  func callAsFunction(_ x: Tensor, dropped: (Tensor) -> Tensor = { $0 }) -> Tensor {
    var x = x
    if let dense { x = activation(dense(x)) }
    if let norm { x = norm(x) }
    return output(dropped(x))
  }
}
