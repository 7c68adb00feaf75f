import CTorch

/// One positional argument of a LibTorch operator.
enum Argument {
  case none
  case tensor(Tensor)
  case int(Int)
  case double(Double)
  case bool(Bool)
  case string(StaticString)
  case ints([Int])
  case doubles([Double])
  case optionalNumbers([Double])
  case tensors([Tensor])
  case optionalTensors([Tensor?])
  case device(Device)
  case dtype(DType)
  case generator(Generator)

  static func optional(_ tensor: Tensor?) -> Argument { tensor.map(Argument.tensor) ?? .none }
  static func optional(_ generator: Generator?) -> Argument {
    generator.map(Argument.generator) ?? .none
  }
  static func optional(_ dtype: DType?) -> Argument { dtype.map(Argument.dtype) ?? .none }
  static func optional(_ value: Double?) -> Argument { value.map(Argument.double) ?? .none }
}

/// A LibTorch operator, found once by the name and overload of its schema.
///
/// A call is a programmer's: a wrong shape or dtype traps, and the message names the operator, its
/// arguments' shapes and dtypes, and LibTorch's own words.
struct Operator: @unchecked Sendable {  // The handle is immutable and lives with the process.
  let name: StaticString
  private let handle: ctorch_operator

  init(_ name: StaticString, _ overload: StaticString = "") {
    guard let found = Operator(ifPresent: name, overload) else {
      fatalError("LibTorch has no operator \(name).\(overload): \(lastTorchError())")
    }
    self = found
  }

  /// Nil where this LibTorch was built without the operator.
  init?(ifPresent name: StaticString, _ overload: StaticString = "") {
    var found: ctorch_operator?
    let status = ctorch_find_operator(name.characters, overload.characters, &found)
    guard status == 0, let found else { return nil }
    self.name = name
    self.handle = found
  }

  /// Calls the operator and returns its only result, a tensor.
  @discardableResult
  func callAsFunction(_ arguments: Argument...) -> Tensor { tensors(arguments)[0] }

  /// Calls the operator and returns its results, all tensors.
  func tensors(_ arguments: [Argument]) -> [Tensor] {
    call(arguments).map { value in
      guard value.tag == CTORCH_TENSOR, let pointer = value.pointer else {
        preconditionFailure("\(name) returned something that is not a tensor")
      }
      return Tensor(owning: OpaquePointer(pointer))
    }
  }

  /// Calls the operator and returns its only result, a number.
  func number(_ arguments: Argument...) -> Double {
    let value = call(arguments)[0]
    return value.tag == CTORCH_DOUBLE ? value.real : Double(value.integer)
  }

  private func call(_ arguments: [Argument]) -> [ctorch_value] {
    var arena = ArgumentArena()
    let values = arguments.map { arena.value(of: $0) }
    let room = 64
    let outputs = [ctorch_value](unsafeUninitializedCapacity: room) { buffer, count in
      guard let base = buffer.baseAddress else { return }
      var written = Int32(room)
      let status = ctorch_call(handle, values, Int32(values.count), base, &written)
      guard status == 0 else { trap(arguments) }
      count = Int(written)
    }
    withExtendedLifetime(arguments) { arena.free() }
    return outputs
  }

  private func trap(_ arguments: [Argument]) -> Never {
    let listed = arguments.map(\.summary).joined(separator: ", ")
    fatalError("\(name)(\(listed)): \(lastTorchError())")
  }
}

func lastTorchError() -> String { String(cString: ctorch_last_error()) }

/// Traps with LibTorch's message unless a C call succeeded.
func check(_ status: ctorch_status, _ what: @autoclosure () -> String) {
  if status != 0 { fatalError("\(what()): \(lastTorchError())") }
}

extension StaticString {
  var characters: UnsafePointer<CChar> {
    UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self)
  }
}

extension Argument {
  fileprivate var summary: String {
    switch self {
    case .none: "nil"
    case .tensor(let tensor): "\(tensor.dtype)\(tensor.shape)"
    case .int(let value): "\(value)"
    case .double(let value): "\(value)"
    case .bool(let value): "\(value)"
    case .string(let value): "\"\(value)\""
    case .ints(let values): "\(values)"
    case .doubles(let values), .optionalNumbers(let values): "\(values)"
    case .tensors(let tensors):
      "[" + tensors.map { "\($0.dtype)\($0.shape)" }.joined(separator: ", ") + "]"
    case .optionalTensors(let tensors): "[\(tensors.count) indices]"
    case .device(let device): "\(device)"
    case .dtype(let dtype): "\(dtype)"
    case .generator: "generator"
    }
  }
}

/// Memory for the lists of one call.
private struct ArgumentArena {
  private var blocks: [UnsafeMutableRawPointer] = []

  mutating func value(of argument: Argument) -> ctorch_value {
    var value = ctorch_value()
    switch argument {
    case .none:
      value.tag = Int32(CTORCH_NONE)
    case .tensor(let tensor):
      value.tag = Int32(CTORCH_TENSOR)
      value.pointer = UnsafeRawPointer(tensor.handle)
    case .int(let integer):
      value.tag = Int32(CTORCH_INT)
      value.integer = Int64(integer)
    case .dtype(let dtype):
      value.tag = Int32(CTORCH_INT)
      value.integer = Int64(dtype.rawValue)
    case .double(let real):
      value.tag = Int32(CTORCH_DOUBLE)
      value.real = real
    case .bool(let bool):
      value.tag = Int32(CTORCH_BOOL)
      value.integer = bool ? 1 : 0
    case .string(let string):
      value.tag = Int32(CTORCH_STRING)
      value.pointer = UnsafeRawPointer(string.utf8Start)
    case .ints(let integers):
      setList(&value, CTORCH_INT_LIST, integers.map { Int64($0) })
    case .doubles(let reals):
      setList(&value, CTORCH_DOUBLE_LIST, reals)
    case .optionalNumbers(let reals):
      setList(&value, CTORCH_OPTIONAL_NUMBER_LIST, reals)
    case .tensors(let tensors):
      setList(&value, CTORCH_TENSOR_LIST, tensors.map { Optional($0.handle) })
    case .optionalTensors(let tensors):
      setList(&value, CTORCH_OPTIONAL_TENSOR_LIST, tensors.map { $0?.handle })
    case .device(let device):
      value.tag = Int32(CTORCH_DEVICE)
      value.integer = Int64(device.code)
    case .generator(let generator):
      value.tag = Int32(CTORCH_GENERATOR)
      value.pointer = UnsafeRawPointer(generator.handle)
    }
    return value
  }

  private mutating func setList<Element>(
    _ value: inout ctorch_value, _ tag: Int, _ elements: [Element]
  ) {
    let block = UnsafeMutablePointer<Element>.allocate(capacity: max(elements.count, 1))
    block.initialize(from: elements, count: elements.count)
    blocks.append(UnsafeMutableRawPointer(block))
    value.tag = Int32(tag)
    value.count = Int32(elements.count)
    value.pointer = UnsafeRawPointer(block)
  }

  mutating func free() {
    for block in blocks { block.deallocate() }
    blocks = []
  }
}
