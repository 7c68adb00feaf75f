public import JSONValues

/// Configuration of an adapter: what PEFT keeps in `adapter_config.json`.
///
/// A method is one type that conforms, in `Methods`, and one line of ``AdapterMethods``.
public protocol AdapterConfiguration: Equatable, Sendable {
  /// PEFT's name of the method, for example "LORA".
  static var type: String { get }

  /// The method's own fields, and those of ``targets`` that PEFT's class of it has.
  static var fields: [ConfigurationField<Self>] { get }

  /// What every method has.
  var origin: AdapterOrigin { get set }

  /// Whether making or writing such an adapter reads frozen weights of the model's blocks, or trains some of
  /// them where they are; passes do not count.
  var readsBlocks: Bool { get }

  /// A configuration with PEFT's defaults.
  init()

  /// Checks every field that does not depend on a model.
  ///
  /// - Throws: ``AdapterError/configuration(field:expected:actual:)``.
  func validate() throws(AdapterError)
}

/// What every adapter's file says, whatever the method.
public struct AdapterOrigin: Equatable, Sendable {
  /// PEFT's `task_type`, for example "CAUSAL_LM".
  public var taskType: String? = "CAUSAL_LM"
  /// Name or directory of the base model, for the reader of the file.
  public var baseModel: String?
  /// Revision of the base model.
  public var revision: String?
  /// Modules that are trained whole and saved with the adapter.
  public var modulesToSave: [String] = []
  /// PEFT's `inference_mode`: whether a new adapter begins with nothing of it trained.
  ///
  /// Files say true of every adapter; who reads one decides.
  public var inferenceMode = false

  /// Makes the default.
  public init() {}
}

extension AdapterConfiguration {
  /// Names of the method's own fields in `adapter_config.json`.
  public static var fieldNames: [String] { fields.map(\.key) }

  /// Taken for granted.
  public var readsBlocks: Bool { true }

  /// Nothing to check.
  public func validate() throws(AdapterError) {}

  /// Modules that are trained whole and saved with the adapter.
  public var modulesToSave: [String] {
    get { origin.modulesToSave }
    set { origin.modulesToSave = newValue }
  }

  /// PEFT's `task_type`, for example "CAUSAL_LM".
  public var taskType: String? {
    get { origin.taskType }
    set { origin.taskType = newValue }
  }

  /// Name or directory of the base model, for the reader of the file.
  public var baseModel: String? {
    get { origin.baseModel }
    set { origin.baseModel = newValue }
  }

  /// The content of `adapter_config.json`: every field that PEFT 0.21.2 writes for the method.
  public var json: JSON {
    var object = JSONObject([
      ("auto_mapping", nil), ("base_model_name_or_path", origin.baseModel.json),
      ("inference_mode", true), ("peft_type", .string(Self.type)), ("peft_version", "0.21.2"),
      ("revision", origin.revision.json), ("task_type", origin.taskType.json),
    ])
    for field in Self.fields { object[field.key] = field.write(self) }
    return .object(object)
  }

  /// Reads the content of `adapter_config.json`.
  ///
  /// - Parameters:
  ///   - json: The object. Missing fields take PEFT's defaults.
  ///   - path: For messages.
  /// - Throws: ``AdapterError`` when it is another method's, a value is wrong, a field is unknown or
  ///   asks for something that is not supported.
  public init(json: JSON, path: String) throws(AdapterError) {
    let type = json["peft_type"]?.stringValue ?? "none"
    guard type == Self.type else {
      throw .unknownMethod(path: path, type: type, known: [Self.type])
    }
    self.init()
    let reader = FieldReader(json: json)
    origin.taskType = try reader.string("task_type")
    origin.baseModel = try reader.string("base_model_name_or_path")
    origin.revision = try reader.string("revision")
    for field in Self.fields { try field.read(&self, reader) }
    let known = Set(Self.fields.map(\.key)).union(commonKeys)
    // What is off or empty asks for nothing.
    let unknown = (json.objectValue ?? JSONObject()).filter { key, value in
      !known.contains(key) && !value.isNull && value != false && value.arrayValue?.count != 0
        && value.objectValue?.count != 0
    }.map(\.key)
    guard unknown.isEmpty else {
      throw .unknownFields(
        path: path, names: unknown.sorted(), version: json["peft_version"]?.stringValue)
    }
    try validate()
  }
}

/// Fields of every method.
private let commonKeys: Set<String> = [
  "auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version",
  "revision", "task_type", "runtime_config",
]

extension String? {
  fileprivate var json: JSON { map(JSON.string) ?? .null }
}

/// What precedes a module's path in an adapter file.
let keyPrefix = "base_model.model."
