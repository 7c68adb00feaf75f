import Checkpoints
public import Tensors

/// Tensors that a peer computed, by name.
public struct Goldens {
  private let tensors: [String: Tensor]

  /// Reads a safetensors file.
  public init(_ path: String) throws {
    var tensors: [String: Tensor] = [:]
    for (name, tensor) in try SafetensorsFile(path: path).tensors() { tensors[name] = tensor }
    self.tensors = tensors
  }

  /// The tensor of a name; a missing one is a mistake in the test.
  public subscript(_ name: String) -> Tensor {
    guard let tensor = tensors[name] else { fatalError("the golden has no tensor \(name)") }
    return tensor
  }

  /// Tensors whose names begin with a prefix, without it.
  public func tensors(prefix: String) -> [String: Tensor] {
    var found: [String: Tensor] = [:]
    for (name, tensor) in tensors where name.hasPrefix(prefix) {
      found[String(name.dropFirst(prefix.count))] = tensor
    }
    return found
  }
}

/// The folder of a test file's target.
public func testDirectory(_ file: String = #filePath) -> String {
  String(file[..<(file.lastIndex(of: "/") ?? file.endIndex)])
}
