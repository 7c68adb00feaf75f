import Checkpoints
import Foundation
import JSONValues
import Layers
import Models
import Quantization
import Tensors
import TestSupport
import Testing

/// Directories as bitsandbytes writes them: what is read, and what is said about damaged ones.
@Suite struct QuantizedFilesTests {
  private static let int8 = WeightFormat.int8(threshold: 6)
  private static let nf4 = WeightFormat.fourBit(.nf4, blockSize: 64, doubleQuantization: true)
  private static let fp4 = WeightFormat.fourBit(.fp4, blockSize: 32, doubleQuantization: false)
  private let batch = DecoderInput(ids: Tensor([7, 3, 200, 41, 9, 77], shape: [1, 6]))
  private let layer = "model.layers.0.mlp.up_proj"

  /// Writes a quantised tiny model after its tensors and its configuration were changed.
  private func withModel(
    _ format: WeightFormat,
    changing change: (inout [String: Tensor], inout JSONObject) -> Void = { _, _ in },
    _ body: (String, Tensor) throws -> Void
  ) throws {
    try withTemporaryDirectory { directory in
      let tiny = TinyModel()
      try tiny.write(to: directory)
      let model = try AutoModelForCausalLM.fromPretrained(
        directory, quantization: QuantizationOptions(format))
      var tensors: [String: Tensor] = [:]
      for (path, parameter) in model.parameters() where path != "lm_head.weight" {
        tensors[path] = parameter.value.cloned()
      }
      for (path, module) in model.modules() {
        for (name, tensor) in module.storedTensors { tensors["\(path).\(name)"] = tensor }
      }
      let logits = model.logits(batch)
      var config = try #require(tiny.configuration.objectValue)
      config["quantization_config"] = BitsAndBytesConfiguration(format).json
      change(&tensors, &config)
      try SafetensorsWriter.save(
        directory + "/model.safetensors",
        tensors: tensors.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
      try AtomicFile.write(
        path: directory + "/config.json", text: JSON.object(config).serialized())
      try body(directory, logits)
    }
  }

  /// What opening a changed directory says.
  private func message(
    _ format: WeightFormat, _ change: (inout [String: Tensor], inout JSONObject) -> Void
  ) throws -> String {
    var found = "nothing"
    try withModel(format, changing: change) { directory, _ in
      do {
        _ = try AutoModelForCausalLM.fromPretrained(directory)
      } catch {
        #expect(error is QuantizationError || error is ModelError)
        found = "\(error)"
      }
    }
    return found
  }

  @Test(arguments: [int8, nf4, fp4]) func reopens(_ format: WeightFormat) throws {
    try withModel(format) { directory, logits in
      let model = try AutoModelForCausalLM.fromPretrained(directory)
      #expect(model.logits(batch).isEqual(to: logits))
      let projection = try #require(model.module(at: layer) as? Linear).projection
      #expect(projection.storedCount == 24 * 16)
      // The same format may be asked for again; another one may not.
      _ = try AutoModelForCausalLM.fromPretrained(
        directory, quantization: QuantizationOptions(format))
      let others: [WeightFormat] = [
        .int8(threshold: 3), .fourBit(.nf4, blockSize: 64, doubleQuantization: false),
        .fourBit(.fp4, blockSize: 64, doubleQuantization: false),
      ]
      for other in others {
        #expect(throws: QuantizationError.self) {
          try AutoModelForCausalLM.fromPretrained(
            directory, quantization: QuantizationOptions(other))
        }
      }
    }
  }

  @Test func theStateIsThatOfBitsandbytes() throws {
    try withModel(Self.nf4) { directory, _ in
      let file = try SafetensorsFile(path: directory + "/model.safetensors")
      let key = "\(layer).weight.quant_state.bitsandbytes__nf4"
      let bytes = file.byteTensor(try #require(file[key])).array(of: UInt8.self)
      let text = try #require(String(bytes: bytes, encoding: .utf8))
      let head =
        #"{"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [24, 16], "#
        + #""nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": "#
      #expect(text.hasPrefix(head) && text.hasSuffix("}"))
      #expect(file["\(layer).weight"]?.shape == [192, 1])
      #expect(file["\(layer).weight.absmax"]?.dtype.rawValue == "U8")
      #expect(file["\(layer).weight.nested_quant_map"]?.shape == [256])
    }
  }

  /// Bytes of bfloat16, as bnb_4bit_quant_storage makes them, are the same bytes.
  @Test func otherStorageTypes() throws {
    try withModel(
      Self.nf4,
      changing: { tensors, _ in
        for (name, tensor) in tensors where name.hasSuffix("_proj.weight") {
          let bytes = tensor.array(of: UInt8.self)
          let halves = stride(from: 0, to: bytes.count, by: 2).map {
            Int32(bytes[$0]) | Int32(bytes[$0 + 1]) << 8
          }
          tensors[name] = Tensor(halves.map { Int64(Int16(truncatingIfNeeded: $0)) }).to(.int16)
            .reshaped([-1, 1])
        }
      }
    ) { directory, logits in
      let model = try AutoModelForCausalLM.fromPretrained(directory)
      #expect(model.logits(batch).isEqual(to: logits))
    }
  }

  @Test func missingState() throws {
    for name in ["absmax", "quant_map", "nested_absmax", "nested_quant_map"] {
      let text = try message(Self.nf4) { tensors, _ in tensors["\(layer).weight.\(name)"] = nil }
      #expect(text.contains("\(layer).weight lacks \(layer).weight.\(name)"))
    }
    let state = try message(Self.nf4) { tensors, _ in
      tensors["\(layer).weight.quant_state.bitsandbytes__nf4"] = nil
    }
    #expect(state.contains("lacks \(layer).weight.quant_state.bitsandbytes__nf4"))
    let scales = try message(Self.int8) { tensors, _ in tensors["\(layer).SCB"] = nil }
    #expect(scales.contains("\(layer).weight lacks \(layer).SCB"))
    let weight = try message(Self.int8) { tensors, _ in tensors["\(layer).weight"] = nil }
    #expect(weight.contains("no tensor \(layer).weight"))
  }

  @Test func stateThatDoesNotFit() throws {
    func changing(_ field: String, _ value: JSON) throws -> String {
      try message(Self.nf4) { tensors, _ in
        let key = "\(layer).weight.quant_state.bitsandbytes__nf4"
        let bytes = tensors[key]?.array(of: UInt8.self) ?? []
        var object = (try? JSON.parse(Data(bytes)))?.objectValue ?? JSONObject()
        object[field] = value
        tensors[key] = Tensor(Array(JSON.object(object).serialized().utf8))
      }
    }
    #expect(try changing("blocksize", 48).contains("blocksize: expected one of [32, 64"))
    #expect(try changing("blocksize", 128).contains("absmax: expected uint8 of shape [3]"))
    #expect(try changing("shape", [24, 17]).contains("shape: expected [24, 16] by config.json"))
    #expect(try changing("dtype", "int4").contains("dtype: expected float32"))
    #expect(try changing("quant_type", "af4").contains("quant_type: expected nf4"))
    #expect(try changing("nested_offset", "x").contains("nested_offset: expected a number"))
    #expect(try changing("nested_offset", 1e300).contains("nested_offset: expected a number"))
    for size: JSON in [0, .integer(Int.max - 1)] {
      #expect(
        try changing("nested_blocksize", size).contains("nested_blocksize: expected a positive"))
    }
    let torn = try message(Self.nf4) { tensors, _ in
      tensors["\(layer).weight.quant_state.bitsandbytes__nf4"] = Tensor([UInt8(123), 34])
    }
    #expect(torn.contains("expected a JSON object"))
    let short = try message(Self.nf4) { tensors, _ in
      tensors["\(layer).weight"] = tensors["\(layer).weight"]?.narrowed(0, 0..<191)
    }
    #expect(short.contains("expected 192 bytes for a shape of [24, 16], found 191"))
    let map = try message(Self.fp4) { tensors, _ in
      tensors["\(layer).weight.quant_map"] = Tensor(FourBitType.nf4.values)
    }
    #expect(map.contains("expected the numbers of fp4"))
    let scales = try message(Self.int8) { tensors, _ in
      tensors["\(layer).SCB"] = tensors["\(layer).SCB"]?.narrowed(0, 0..<9)
    }
    #expect(scales.contains("SCB: expected float32 of shape [24], found F32 of shape [9]"))
    let format = try message(Self.int8) { tensors, _ in
      tensors["\(layer).weight_format"] = Tensor([UInt8(2)], shape: [])
    }
    #expect(format.contains("weight_format: expected 0"))
  }

  /// Sizes of nested blocks that are no power of two, and larger than the tensor.
  @Test(arguments: [3, 5, 1000]) func nestedBlockSizes(_ size: Int) throws {
    let values = Tensor.randomNormal([2, 64 * 7], generator: Generator(seed: 4))
    let made = FourBitCodes(quantizing: values)
    let codes = FourBitCodes(
      bytes: made.bytes, scales: .quantizing(made.scales.values, blockSize: size), blockSize: 64,
      type: .nf4, shape: [2, 64 * 7], dtype: .float32)
    expectClose(
      codes.decodedByOperators(.float32), codes.dequantized(), absolute: 0, relative: 1e-6)
    let layer = Linear4bit(weight: codes)
    let x = Tensor.randomNormal([3, 64 * 7], generator: Generator(seed: 5))
    expectClose(layer(x), x.linear(codes.dequantized()), absolute: 1e-4, relative: 1e-5)
  }

  /// Types that `config.json` may claim and weights cannot be computed in.
  @Test(arguments: ["float64", "int64", "float8_e4m3fn", "bool"])
  func claimedTypes(_ name: String) throws {
    for format in [Self.int8, Self.nf4] {
      try withModel(
        format, changing: { _, config in config["dtype"] = .string(name) }
      ) { directory, _ in
        let model = try AutoModelForCausalLM.fromPretrained(directory, dtype: nil)
        model.dequantize()
        let dense = try #require(model.module(at: layer) as? Linear).projection
        #expect(dense.dtype == .float32)
      }
    }
  }

  /// Codes where numbers belong: no layer computes with them.
  @Test func codesInOtherPlaces() throws {
    let embedding = try message(Self.int8) { tensors, _ in
      tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"]?.to(.int8)
    }
    #expect(embedding.contains("model.embed_tokens.weight is stored as int8"))
    // A quantised head of a model that says its head is tied is used as it is.
    var head: RowCodes?
    try withModel(
      Self.int8,
      changing: { tensors, _ in
        let table = tensors["model.embed_tokens.weight"] ?? Tensor([Float(0)])
        let codes = RowCodes(quantizingWeight: table * 3)
        (tensors["lm_head.weight"], tensors["lm_head.SCB"]) = (codes.codes, codes.scales)
        head = codes
      }
    ) { directory, _ in
      let model = try AutoModelForCausalLM.fromPretrained(directory)
      let layer = try #require(model.head.projection as? Linear8bit)
      #expect(layer.weight.codes.isEqual(to: try #require(head).codes))
    }
  }

  @Test func truncatedFile() throws {
    try withModel(Self.nf4) { directory, _ in
      let path = directory + "/model.safetensors"
      let data = try Data(contentsOf: URL(fileURLWithPath: path))
      try data.prefix(data.count - 100).write(to: URL(fileURLWithPath: path))
      #expect(throws: CheckpointError.self) {
        try AutoModelForCausalLM.fromPretrained(directory)
      }
    }
  }

  @Test func otherMethodsAreNamed() throws {
    for (method, name) in [("gptq", "GPTQ"), ("awq", "AWQ"), ("hqq", "HQQ"), ("new", "\"new\"")] {
      let text = try message(Self.nf4) { _, config in
        config["quantization_config"] = ["quant_method": .string(method), "bits": 4]
      }
      #expect(text.contains("quantised by \(name), which is not supported; supported: bits"))
    }
    let names = try message(Self.nf4) { tensors, config in
      config["quantization_config"] = nil
      tensors["\(layer).weight"] = nil
      tensors["\(layer).qweight"] = Tensor([Int32(1)])
      tensors["\(layer).g_idx"] = Tensor([Int32(1)])
    }
    #expect(names.contains("quantised by GPTQ"))
    let both = try message(Self.nf4) { _, config in
      config["quantization_config"] = ["load_in_8bit": true, "load_in_4bit": true]
    }
    #expect(both.contains("exactly one of load_in_8bit and load_in_4bit"))
  }

  @Test func configurationIsThatOfTransformers() throws {
    for format in [Self.int8, Self.nf4, Self.fp4] {
      let made = BitsAndBytesConfiguration(format, skippedModules: ["lm_head", "v_proj"])
      let read = try #require(
        try BitsAndBytesConfiguration(model: ["quantization_config": made.json], path: "x"))
      #expect(read == made && read.format(blockSize: format == Self.fp4 ? 32 : 64) == format)
    }
    #expect(try BitsAndBytesConfiguration(model: ["a": 1], path: "x") == nil)
  }

  @Test func skippedModules() throws {
    try withTemporaryDirectory { directory in
      var tiny = TinyModel()
      let options = QuantizationOptions(
        Self.nf4, skippedModules: ["v_proj", "model.layers.1", "lm_head"],
        quantizesEmbeddings: true)
      try tiny.write(to: directory)
      // A second table would take memory, not save it.
      #expect(throws: ModelError.self) {
        try AutoModelForCausalLM.fromPretrained(directory, quantization: options)
      }
      tiny.tiesEmbeddings = false
      try tiny.write(to: directory)
      let model = try AutoModelForCausalLM.fromPretrained(directory, quantization: options)
      let kept = model.modules().filter { ($0.module as? Linear)?.projection is DenseProjection }
      #expect(kept.count == 2 + 7)  // v_proj of layer 0, all of layer 1, and the head.
      #expect(model.model.embedding.table is Table4bit)
      model.dequantize()
      #expect(model.modules().allSatisfy { $0.module.storedCount == 0 })
    }
  }
}
