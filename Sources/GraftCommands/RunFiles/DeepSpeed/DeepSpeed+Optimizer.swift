import CommandLineParsing
import JSONValues
import Optimizers

/// An optimiser of DeepSpeed's files that Graft has.
private struct DeepSpeedRule {
  /// Graft's name.
  let name: String
  /// DeepSpeed's default rate.
  let learningRate: Double
  /// Its defaults of the moments' decays by Graft's options; nil for a fixed 0.
  var beta1: (key: String, value: Double)?
  var beta2: (key: String, value: Double)?
  var epsilon: Double?
  var weightDecay = 0.0
  /// Further keys with the one value that is supported.
  var fixed: [(key: String, value: JSON)] = []
}

extension FileResolution {
  /// Names as DeepSpeed compares them; those of torch.optim are spelt exactly.
  private static let rules: [String: DeepSpeedRule] = [
    "adam": adam, "adamw": adam,
    "lion": DeepSpeedRule(
      name: "lion", learningRate: 1e-4, beta1: ("betas", 0.9), beta2: ("betas", 0.99)),
    "adagrad": DeepSpeedRule(
      name: "adagrad", learningRate: 1e-2, epsilon: 1e-10,
      fixed: [("lr_decay", 0), ("initial_accumulator_value", 0)]),
    "SGD": DeepSpeedRule(
      name: "sgd", learningRate: 1e-3, beta1: ("momentum", 0),
      fixed: [("dampening", 0), ("nesterov", false)]),
    "RMSprop": DeepSpeedRule(
      name: "rmsprop", learningRate: 1e-2, beta2: ("alpha", 0.99), epsilon: 1e-8,
      fixed: [("momentum", 0), ("centered", false)]),
  ]
  private static let adam = DeepSpeedRule(
    name: "adamw", learningRate: 1e-3, beta1: ("betas", 0.9), beta2: ("betas", 0.999),
    epsilon: 1e-8, fixed: [("bias_correction", true), ("amsgrad", false)])
  /// What DeepSpeed knows and Graft does not, with the reason.
  private static let refused = [
    "lamb": "its limit of the direction is not Graft's lamb's", "muon": "", "muadam": "",
    "muadamw": "", "musgd": "", "onebitadam": "", "onebitlamb": "", "zerooneadam": "",
    "cpuadam": "",
  ]
  /// Keys that change how a rule is computed and not what it is.
  private static let implementation: Set = [
    "torch_adam", "foreach", "fused", "capturable", "differentiable", "set_grad_none",
    "fp32_optimizer_states", "maximize",
  ]

  mutating func resolveOptimizer() {
    let pages = resolvesToFile()
    guard has("optimizer") else {
      // The state's place is the file's all the same.
      if pages, let own = OptimizerKind(current("optimizer") ?? "") {
        place(own, pages: true, "zero_optimization.offload_optimizer.device")
      } else {
        note("optimizer", nil, "--optimizer \(current("optimizer") ?? "adamw") and its options")
      }
      return
    }
    guard let type = value("optimizer.type")?.stringValue else {
      refuse("optimizer.type is missing")
      return
    }
    guard let rule = Self.rules[type] ?? Self.rules[type.lowercased()] else {
      let names = ["Adam", "AdamW", "Lion", "Adagrad", "SGD", "RMSprop"]
      if let reason = Self.refused[type.lowercased()] {
        refuse(
          "optimizer.type = \(type) is not supported" + (reason.isEmpty ? "" : ": \(reason)")
            + "; supported: \(names.joined(separator: ", "))")
      } else {
        let near = nearestName(type, among: names).map { "; did you mean \($0)?" } ?? ""
        refuse("optimizer.type = \(type) is not known\(near)")
      }
      return
    }
    if let kind = OptimizerKind(rule.name) { place(kind, pages: pages, "optimizer.type") }
    checkParameters(rule, isPlainAdam: type.lowercased() == "adam")
    settle("learning-rate", "optimizer.params.lr", fallback: "\(rule.learningRate)")
    settle("weight-decay", "optimizer.params.weight_decay", fallback: "\(rule.weightDecay)")
    if value("optimizer.params.weight_decay")?.doubleValue ?? 0 != 0 {
      note(
        "optimizer.params.weight_decay", value("optimizer.params.weight_decay"),
        "parameters of one dimension do not decay here")
    }
    resolveMoments(rule)
    if let epsilon = rule.epsilon {
      settle("epsilon", "optimizer.params.eps", fallback: "\(epsilon)")
    }
  }

  /// An optimiser with its state in memory or in a file; a state of 8 bits is no contradiction.
  private mutating func place(_ kind: OptimizerKind, pages: Bool, _ key: String) {
    let name = (pages ? "paged-" : "") + kind.name
    if isStated("optimizer"), let own = OptimizerKind(current("optimizer") ?? ""),
      own.rule == kind.rule, !pages || own.name.hasPrefix("paged-")
    {
      keep("optimizer", key)
    } else {
      set("optimizer", to: name, key)
    }
  }

  private mutating func resolveMoments(_ rule: DeepSpeedRule) {
    let key = "optimizer.params.betas"
    if let betas = value(key), !betas.isAuto, rule.beta1?.key == "betas" {
      let numbers = betas.arrayValue?.compactMap(\.doubleValue) ?? []
      guard numbers.count == 2, betas.arrayValue?.count == 2 else {
        refuse("\(key) is \(betas.written), expected two numbers")
        return
      }
      set("beta1", to: "\(numbers[0])", key)
      set("beta2", to: "\(numbers[1])", key)
      return
    }
    for (option, moment) in [("beta1", rule.beta1), ("beta2", rule.beta2)] {
      guard let moment else { continue }
      settle(option, "optimizer.params." + moment.key, fallback: "\(moment.value)")
    }
  }

  /// Checks names and values of the rule's parameters.
  private mutating func checkParameters(_ rule: DeepSpeedRule, isPlainAdam: Bool) {
    let known =
      ["lr", "weight_decay", "adam_w_mode"] + (rule.epsilon == nil ? [] : ["eps"])
      + [rule.beta1?.key, rule.beta2?.key].compactMap { $0 } + rule.fixed.map(\.key)
      + Self.implementation.sorted()
    for (name, value) in value("optimizer.params")?.objectValue ?? JSONObject() {
      let place = "optimizer.params.\(name)"
      guard known.contains(name) else {
        let near = nearestName(name, among: known).map { "; did you mean \($0)?" } ?? ""
        refuse(
          name == "max_grad_norm"
            ? "\(place): DeepSpeed takes gradient_clipping instead" : "unknown key \(place)\(near)")
        continue
      }
      if value.isNull || value.isAuto { continue }
      if let fixed = rule.fixed.first(where: { $0.key == name }) {
        let isSame =
          value.doubleValue.map { $0 == fixed.value.doubleValue } ?? (value == fixed.value)
        if isSame {
          note(place, value, "as it is here")
        } else {
          refuse("\(place) = \(value.written) is not supported: it is \(fixed.value.written) here")
        }
      } else if name == "maximize" {
        if value.boolValue != false { refuse("\(place) = \(value.written) is not supported") }
      } else if name == "adam_w_mode" {
        checkDecay(value, place, isPlainAdam: isPlainAdam)
      } else if Self.implementation.contains(name) {
        note(place, value, "not needed here: there is one implementation of each rule")
      } else if name != "betas", value.doubleValue.map(\.isFinite) != true {
        refuse("\(place) is \(value.written), expected a number")
      }
    }
  }

  /// Adam whose decay is added to the gradient is another rule than AdamW where there is a decay.
  private mutating func checkDecay(_ mode: JSON, _ place: String, isPlainAdam: Bool) {
    guard let isDecoupled = mode.boolValue else {
      refuse("\(place) is \(mode.written), expected true or false")
      return
    }
    let decay =
      value("optimizer.params.weight_decay")?.doubleValue
      ?? current("weight-decay").flatMap { Double($0) } ?? 0
    if !isDecoupled, isPlainAdam, decay != 0 {
      refuse("\(place) = false with a weight decay is not supported: the decay is decoupled here")
    }
    note(place, mode, "as it is here")
  }
}
