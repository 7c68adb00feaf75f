import CTorch

/// A place where tensors live and are computed.
public struct Device: Sendable, Hashable {
  /// Kind of hardware; raw values are LibTorch's `c10::DeviceType` codes.
  public enum Kind: Int32, Sendable, Hashable {
    case cpu = 0
    case cuda = 1
    case mps = 13
    /// Shapes and dtypes only: operators compute no numbers.
    case meta = 14
  }

  /// Kind of hardware.
  public let kind: Kind
  /// Which one of several, or nil for the current one.
  public let index: Int?

  /// Makes a device.
  ///
  /// - Parameters:
  ///   - kind: Kind of hardware.
  ///   - index: Which one of several, in `0...253`, or nil for the current one.
  public init(_ kind: Kind, index: Int? = nil) {
    self.kind = kind
    self.index = index
  }

  /// The processor's memory.
  public static let cpu = Device(.cpu)
  /// Shapes only, no memory.
  public static let meta = Device(.meta)

  /// The best device of this machine: CUDA, then Apple's GPU, then the processor.
  public static var best: Device {
    if ctorch_cuda_available() { return Device(.cuda, index: 0) }
    if ctorch_mps_available() { return Device(.mps, index: 0) }
    return .cpu
  }

  /// Whether LibTorch was built for and finds such hardware here.
  public var isAvailable: Bool {
    switch kind {
    case .cpu, .meta: true
    case .cuda: ctorch_cuda_available()
    case .mps: ctorch_mps_available()
    }
  }

  var code: Int32 { kind.rawValue << 8 | Int32((index ?? -1) + 1) }

  init(code: Int32) {
    guard let kind = Kind(rawValue: code >> 8) else {
      preconditionFailure("LibTorch device type \(code >> 8) is not one that Graft knows")
    }
    self.init(kind, index: code & 0xff == 0 ? nil : Int(code & 0xff) - 1)
  }
}

extension Device: CustomStringConvertible {
  /// The spelling of command-line options, for example "cpu" or "cuda:0".
  public var description: String {
    let name =
      switch kind {
      case .cpu: "cpu"
      case .cuda: "cuda"
      case .mps: "mps"
      case .meta: "meta"
      }
    return index.map { "\(name):\($0)" } ?? name
  }
}
