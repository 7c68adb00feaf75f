import CTorch

/// A source of random numbers whose state can be saved and restored.
///
/// On the processor this is LibTorch's Mersenne Twister: the same seed gives the same numbers as
/// `torch.Generator` does in Python.
public final class Generator: @unchecked Sendable {  // LibTorch guards each draw by a mutex.
  let handle: ctorch_generator

  /// Makes a generator.
  ///
  /// - Parameters:
  ///   - seed: Start of its sequence.
  ///   - device: Device of the tensors that it fills.
  public init(seed: UInt64, device: Device = .cpu) {
    var made: ctorch_generator?
    let status = ctorch_generator_create(seed, device.code, &made)
    guard status == 0, let made else { fatalError("Generator: \(lastTorchError())") }
    handle = made
  }

  private init(owning handle: ctorch_generator) { self.handle = handle }

  deinit { ctorch_generator_release(handle) }

  /// The generator that operators use when they are given none.
  ///
  /// - Parameter device: Whose generator.
  /// - Returns: A reference to it, not a copy.
  public static func `default`(for device: Device = .cpu) -> Generator {
    var found: ctorch_generator?
    let status = ctorch_generator_default(device.code, &found)
    guard status == 0, let found else { fatalError("Generator.default: \(lastTorchError())") }
    return Generator(owning: found)
  }

  /// Starts its sequence anew.
  ///
  /// - Parameter seed: Start of the sequence.
  public func seed(_ seed: UInt64) {
    check(ctorch_generator_seed(handle, seed), "Generator.seed")
  }

  /// Everything that decides the numbers still to come, as a uint8 tensor.
  public var state: Tensor {
    get {
      var state: ctorch_tensor?
      let status = ctorch_generator_state(handle, &state)
      guard status == 0, let state else { fatalError("Generator.state: \(lastTorchError())") }
      return Tensor(owning: state)
    }
    set {
      let status = ctorch_generator_set_state(handle, newValue.handle)
      withExtendedLifetime(newValue) {}
      check(status, "Generator.state")
    }
  }
}
