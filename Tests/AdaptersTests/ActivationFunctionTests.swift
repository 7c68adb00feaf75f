import Adapters
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// PEANuT's functions against what transformers 5.23 computes by their names.
@Suite struct ActivationFunctionTests {
  private let inputs: [Float] = [
    -12, -4.5, -1.25, -0.5, -0.03125, 0, 0.0625, 0.75, 2, 5.5, 7, 11,
  ]

  private static let outputs: [String: [Double]] = [
    "gelu": [
      -0.0, -1.5422702e-05, -0.13206221, -0.15426877, -0.015235472, 0.0, 0.032807354, 0.58002949,
      1.9544997, 5.5, 7.0, 11.0,
    ],
    "gelu_python": [
      -0.0, -1.5288591e-05, -0.13206221, -0.15426877, -0.015235472, 0.0, 0.032807354, 0.58002949,
      1.9544997, 5.5, 7.0, 11.0,
    ],
    "gelu_10": [
      -0.0, -1.5422702e-05, -0.13206221, -0.15426877, -0.015235472, 0.0, 0.032807354, 0.58002949,
      1.9544997, 5.5, 7.0, 10.0,
    ],
    "gelu_fast": [
      -0.0, -5.0961971e-06, -0.1322858, -0.154286, -0.015235472, 0.0, 0.03280735, 0.57996058,
      1.9545977, 5.5, 7.0, 11.0,
    ],
    "gelu_new": [
      -0.0, -5.0961971e-06, -0.1322858, -0.154286, -0.015235472, 0.0, 0.03280735, 0.57996058,
      1.9545977, 5.5, 7.0, 11.0,
    ],
    "gelu_pytorch_tanh": [
      -0.0, -5.0961971e-06, -0.1322858, -0.154286, -0.015235472, 0.0, 0.03280735, 0.57996058,
      1.9545977, 5.5, 7.0, 11.0,
    ],
    "gelu_python_tanh": [
      -0.0, -5.0961971e-06, -0.1322858, -0.154286, -0.015235472, 0.0, 0.03280735, 0.57996058,
      1.9545977, 5.5, 7.0, 11.0,
    ],
    "gelu_accurate": [
      -0.0, -5.0961971e-06, -0.1322858, -0.154286, -0.015235472, 0.0, 0.03280735, 0.57996058,
      1.9545977, 5.5, 7.0, 11.0,
    ],
    "quick_gelu": [
      -1.6186421e-08, -0.0021220043, -0.1330657, -0.14961156, -0.015209571, 0.0, 0.032910544,
      0.58639002, 1.9356586, 5.4995265, 6.9999533, 11.0,
    ],
    "hardswish": [
      -0.0, -0.0, -0.36458334, -0.20833333, -0.015462239, 0.0, 0.031901043, 0.46875, 1.6666666, 5.5,
      7.0, 11.0,
    ],
    "laplace": [
      0.0, 0.0, 0.0, 9.3877316e-06, 0.0044300556, 0.0060944557, 0.011154354, 0.56042689, 0.99999774,
      1.0, 1.0, 1.0,
    ],
    "leaky_relu": [
      -0.12, -0.044999998, -0.012499999, -0.0049999999, -0.00031249999, 0.0, 0.0625, 0.75, 2.0, 5.5,
      7.0, 11.0,
    ],
    "linear": [-12.0, -4.5, -1.25, -0.5, -0.03125, 0.0, 0.0625, 0.75, 2.0, 5.5, 7.0, 11.0],
    "mish": [
      -7.373032e-05, -0.049712833, -0.30841392, -0.22074376, -0.018437056, 0.0, 0.038745396,
      0.61001837, 1.943959, 5.4998178, 6.9999886, 11.0,
    ],
    "prelu": [-3.0, -1.125, -0.3125, -0.125, -0.0078125, 0.0, 0.0625, 0.75, 2.0, 5.5, 7.0, 11.0],
    "relu": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0625, 0.75, 2.0, 5.5, 7.0, 11.0],
    "relu2": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.00390625, 0.5625, 4.0, 30.25, 49.0, 121.0],
    "relu6": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0625, 0.75, 2.0, 5.5, 6.0, 6.0],
    "sigmoid": [
      6.1441742e-06, 0.010986943, 0.22270013, 0.37754068, 0.4921881, 0.5, 0.51561993, 0.67917871,
      0.88079703, 0.9959299, 0.999089, 0.99998331,
    ],
    "silu": [
      -7.3730094e-05, -0.049441244, -0.27837518, -0.18877034, -0.015380878, 0.0, 0.032226246,
      0.50938404, 1.7615941, 5.4776144, 6.9936228, 10.999817,
    ],
    "swish": [
      -7.3730094e-05, -0.049441244, -0.27837518, -0.18877034, -0.015380878, 0.0, 0.032226246,
      0.50938404, 1.7615941, 5.4776144, 6.9936228, 10.999817,
    ],
    "sqrtsoftplus": [
      0.0024787483, 0.10510825, 0.50192535, 0.68853247, 0.82319152, 0.83255458, 0.85140198,
      1.0662416, 1.4583992, 2.3460772, 2.6459236, 3.3166273,
    ],
    "tanh": [
      -1.0, -0.99975324, -0.84828365, -0.46211717, -0.031239832, 0.0, 0.062418748, 0.63514894,
      0.96402758, 0.99996662, 0.99999833, 1.0,
    ],
    "xielu": [
      2.8085985, 0.56163025, -0.19537702, -0.16469224, -0.015238035, -7.9948188e-07, 0.034378052,
      0.82543945, 4.203125, 26.973633, 42.738281, 102.39453,
    ],
  ]

  @Test func everyFunctionIsCovered() {
    #expect(Set(Self.outputs.keys) == Set(ActivationFunction.allCases.map(\.rawValue)))
  }

  /// With A choosing the weight's first row and B of ones, D's rows are the function of that row.
  @Test(arguments: ActivationFunction.allCases) func values(_ function: ActivationFunction) throws {
    try withTemporaryDirectory { directory in
      try TinyModel().write(to: directory)
      let model = try AutoModelForCausalLM.fromPretrained(directory)
      let name = "model.layers.0.self_attn.q_proj.weight"
      let weight = try #require(model.parameters().first { $0.path == name }).parameter
      weight.value = Tensor(
        inputs + [Float](repeating: 0, count: 16 * 16 - inputs.count), shape: [16, 16])
      var config = PeanutConfig()
      (config.rank, config.activation, config.targetModules) = (1, function, .names(["q_proj"]))
      let peft = try PeftModel(model, config)
      for (key, parameter) in peft.adapterParameters() {
        let first = key.hasSuffix("peanut_A.weight")
        parameter.value =
          first
          ? Tensor([1] + [Float](repeating: 0, count: 15), shape: [1, 16])
          : Tensor.ones(parameter.value.shape)
      }
      let merged = try peft.mergeAndUnload()
      let sum = try #require(merged.parameters().first { $0.path == name }).parameter.value
      let found = sum.narrowed(0, 1..<2).array(of: Double.self)
      for (value, wanted) in zip(found, try #require(Self.outputs[function.rawValue])) {
        #expect(abs(value - wanted) < 2e-6 * max(1, abs(wanted)))
      }
    }
  }
}
