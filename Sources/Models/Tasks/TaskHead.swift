import Layers
import Tensors

/// The layers of a task behind a model: output(norm(f(dense(x)))), of which only the last has to be.
struct TaskHead {
  var dense: Linear?
  var activation = ActivationFunction.gelu
  var norm: LayerNorm?
  let output: Linear

  func callAsFunction(_ x: Tensor) -> Tensor {
    var x = x
    if let dense { x = activation(dense(x)) }
    if let norm { x = norm(x) }
    return output(x)
  }
}
