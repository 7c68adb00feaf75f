public import Tensors

/// Changes parameters by their gradients.
public protocol Optimizer: AnyObject {
  /// Changes every parameter that has a gradient.
  ///
  /// - Parameter learningRate: Size of the step.
  func step(learningRate: Double)

  /// Forgets all gradients.
  func zeroGradients()

  /// Everything that the next step depends on besides parameters and gradients.
  ///
  /// The tensors are the optimiser's own and change with the next step.
  var state: [(name: String, tensor: Tensor)] { get }

  /// Takes over a saved state, copying it.
  ///
  /// - Parameter saved: Tensors by the names of ``state``; others are left alone.
  /// - Throws: ``OptimizerError`` when one is missing or does not fit; nothing is changed then.
  func load(_ saved: [String: Tensor]) throws(OptimizerError)
}

extension Optimizer {
  /// The saved tensors in the order of ``state``, with its shapes.
  func matching(_ saved: [String: Tensor]) throws(OptimizerError) -> [Tensor] {
    var found: [Tensor] = []
    for (name, tensor) in state {
      guard let value = saved[name] else { throw .state(name: name, reason: "is missing") }
      guard value.shape == tensor.shape else {
        throw .state(name: name, reason: "has shape \(value.shape), expected \(tensor.shape)")
      }
      found.append(value)
    }
    return found
  }
}
