import Foundation
public import Layers
import Tensors

extension PeftModel {
  /// Parameters that belong to an adapter, with the keys of its file.
  ///
  /// - Parameter name: The adapter; nil for the first active one.
  /// - Returns: Keys without the adapter's name, layer by layer.
  public func adapterParameters(_ name: String? = nil) -> [(key: String, parameter: Parameter)] {
    let name = name ?? context.active.first ?? "default"
    return (placed.first { $0.name == name }?.parameters ?? []).map { ($0.key, $0.own.parameter) }
  }

  /// Parameters that training changes, each once.
  public var trainableParameters: [(key: String, parameter: Parameter)] {
    // Layers may share parameters, which files then have under each layer's key.
    var seen: Set<Parameter> = []
    return adapterParameters().filter {
      $0.parameter.isTrainable && seen.insert($0.parameter).inserted
    }
  }

  /// Keys whose matrices files hold transposed, as they hold the base's own weights that these replace.
  public var keysTransposedInFiles: Set<String> {
    Set(placed.flatMap(\.parameters).filter(\.own.isTransposedInFiles).map(\.key))
  }

  /// How much of the model is trained, in PEFT's words.
  ///
  /// - Returns: For example "trainable params: 1,792 || all params: 21,408 || trainable%: 8.3707".
  public func trainableParametersDescription() -> String {
    let (trainable, all) = parameterCounts
    let share = 100 * Double(trainable) / Double(max(all, 1))
    return "trainable params: \(trainable.grouped) || all params: \(all.grouped) "
      + "|| trainable%: \(String(format: "%.4f", share))"
  }

  /// Numbers that are trained, and all numbers with the adapters', each parameter once.
  var parameterCounts: (trainable: Int, all: Int) {
    var seen: Set<Parameter> = []
    var (trainable, all) = (0, 0)
    let own = placed.flatMap { adapter in
      adapter.parameters.map(\.own.parameter)
        + adapter.replacements.flatMap { $0.original.map(\.parameter) }
    }
    for parameter in base.parameters().map(\.parameter) + own where seen.insert(parameter).inserted
    {
      all += parameter.count
      if parameter.isTrainable { trainable += parameter.count }
    }
    for (_, module) in base.modules() { all += module.storedCount }
    return (trainable, all)
  }

  /// Prints ``trainableParametersDescription()`` to standard output, as PEFT's method of this name.
  public func printTrainableParameters() { print(trainableParametersDescription()) }
}

extension Int {
  /// With commas between thousands.
  package var grouped: String {
    var digits = String(self)
    var index = digits.index(digits.endIndex, offsetBy: -3, limitedBy: digits.startIndex)
    while let place = index, place > digits.startIndex {
      digits.insert(",", at: place)
      index = digits.index(place, offsetBy: -3, limitedBy: digits.startIndex)
    }
    return digits
  }
}
