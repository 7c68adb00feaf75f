// Times single functions of quantisation and prints medians as one JSON object, under the names that
// Benchmarks/peers/quantization.py prints for the peer.
//
//   QuantizationBenchmark [REPEATS]      a weight of 2048 x 2048 and 512 tokens, float32
import Foundation
import Layers
import Optimizers
import Quantization
import Tensors

/// Median milliseconds by name.
final class Stopwatch {
  private let repeats: Int
  private(set) var medians: [(name: String, milliseconds: Double)] = []

  init(repeats: Int) { self.repeats = repeats }

  /// Adds the median time of a function; two runs before it do not count.
  func time<Result>(_ name: String, _ body: () -> Result) {
    var times: [Double] = []
    for round in -2..<repeats {
      let start = DispatchTime.now().uptimeNanoseconds
      let result = body()
      let end = DispatchTime.now().uptimeNanoseconds
      withExtendedLifetime(result) {}
      if round >= 0 { times.append(Double(end - start) * 1e-6) }
    }
    medians.append((name, times.sorted()[times.count / 2]))
  }
}

/// Quantised products of 512 tokens and of one.
func timeLayers(_ stopwatch: Stopwatch, _ weight: Tensor, _ x: Tensor) {
  let row = x.narrowed(0, 0..<1)
  let outliers = x.cloned()
  for column in [5, 700, 1900] {
    outliers.narrowed(1, column..<column + 1).multiplyInPlace(20)
  }
  stopwatch.time("linear_float32") { x.linear(weight) }
  stopwatch.time("linear_float32_1_token") { row.linear(weight) }
  let int8 = Linear8bit(quantizing: weight, threshold: 6)
  stopwatch.time("linear_8bit_threshold_6") { int8(x) }
  stopwatch.time("linear_8bit_threshold_6_outliers") { int8(outliers) }
  stopwatch.time("linear_8bit_threshold_6_1_token") { int8(row) }
  let plain = Linear8bit(quantizing: weight, threshold: 0)
  stopwatch.time("linear_8bit_threshold_0") { plain(x) }
  let nf4 = Linear4bit(quantizing: weight, doubleQuantization: true)
  stopwatch.time("linear_4bit") { nf4(x) }
  stopwatch.time("linear_4bit_1_token") { nf4(row) }
  let half = x.to(.bfloat16)
  stopwatch.time("linear_4bit_as_bfloat16") { nf4(half) }
}

/// One step of AdamW; returns the bytes of its state for each parameter.
func timeSteps(_ stopwatch: Stopwatch, _ weight: Tensor) throws -> Double {
  let parameter = Parameter(weight.cloned())
  parameter.value.gradient = weight * 0.05
  func optimizer(_ bits: Int) throws -> FusedOptimizer {
    try FusedOptimizer(
      [("w", parameter)], FusedOptimizerConfiguration(.adamW, stateBits: bits))
  }
  let (codes, numbers) = (try optimizer(8), try optimizer(32))
  stopwatch.time("adamw_8bit") { codes.step(learningRate: 1e-4) }
  stopwatch.time("adamw_fused") { numbers.step(learningRate: 1e-4) }
  return Double(codes.stateByteCount) / Double(weight.count)
}

let stopwatch = Stopwatch(
  repeats: CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 15)
let stateBytes = try withoutGradients {
  let weight = Tensor.randomNormal([2048, 2048], generator: Generator(seed: 0)) * 0.02
  let x = Tensor.randomNormal([512, 2048], generator: Generator(seed: 1))
  stopwatch.time("quantize_blockwise") { BlockwiseCodes(quantizing: weight, blockSize: 256) }
  let codes8 = BlockwiseCodes(quantizing: weight, blockSize: 256)
  stopwatch.time("dequantize_blockwise") { codes8.dequantized() }
  stopwatch.time("quantize_4bit") { FourBitCodes(quantizing: weight) }
  let codes4 = FourBitCodes(quantizing: weight)
  stopwatch.time("dequantize_4bit") { codes4.dequantized() }
  // As in training.
  return try Runtime.withFastProducts {
    timeLayers(stopwatch, weight, x)
    return try timeSteps(stopwatch, weight)
  }
}
let times = stopwatch.medians.map { "\"\($0.name)\": \($0.milliseconds)" }
print("{\"milliseconds\": {\(times.joined(separator: ", "))}, \"state_bytes\": \(stateBytes)}")
