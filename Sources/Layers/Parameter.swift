public import Tensors

/// A tensor of a model that can be trained, shared and replaced.
///
/// Modules refer to parameters, not to tensors: tied weights are one `Parameter` in two modules, and
/// an optimiser finds its state by the parameter's identity.
public final class Parameter {
  /// The numbers.
  public var value: Tensor

  /// Makes a parameter that is not trained.
  ///
  /// - Parameter value: The numbers.
  public init(_ value: Tensor) { self.value = value }

  /// Whether training changes this parameter.
  public var isTrainable: Bool {
    get { value.requiresGradient }
    set { value.requiresGradient = newValue }
  }

  /// Number of elements.
  public var count: Int { value.count }
}

extension Parameter: Hashable {
  /// Parameters are equal when they are the same object.
  public static func == (left: Parameter, right: Parameter) -> Bool { left === right }
  /// Hashes the identity.
  public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
