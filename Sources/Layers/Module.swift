public import Tensors

/// A part of a model: parameters and further parts, each with the name that checkpoints use.
public protocol Module: AnyObject {
  /// Parts of this module, in the order of the model.
  var children: [(name: String, module: any Module)] { get }

  /// Goes through this module's own parameters and puts back what `transform` returns.
  ///
  /// Returning the same parameter only looks at it; another one replaces it in this module only.
  ///
  /// - Parameter transform: Gets each parameter's name within this module.
  func mapParameters(_ transform: (_ name: String, _ parameter: Parameter) -> Parameter)

  /// Tensors of this module's own that checkpoints hold besides parameters: codes of quantised
  /// weights and what belongs to them.
  var storedTensors: [(name: String, tensor: Tensor)] { get }

  /// How many numbers those tensors stand for.
  var storedCount: Int { get }

  /// The tensors of this module's own, besides parameters, that it computes with: objects that it keeps,
  /// where ``storedTensors`` may make some.
  var heldTensors: [Tensor] { get }
}

extension Module {
  /// No parts.
  public var children: [(name: String, module: any Module)] { [] }

  /// Nothing besides parameters.
  public var storedTensors: [(name: String, tensor: Tensor)] { [] }

  /// Nothing besides parameters.
  public var storedCount: Int { 0 }

  /// Nothing besides parameters.
  public var heldTensors: [Tensor] { [] }

  /// No parameters of its own.
  public func mapParameters(_ transform: (_ name: String, _ parameter: Parameter) -> Parameter) {}

  /// This module and everything below it, parents first.
  ///
  /// - Parameter path: Path of this module; its parts' names are appended with dots.
  /// - Returns: Every module with its path.
  public func modules(path: String = "") -> [(path: String, module: any Module)] {
    [(path, self)]
      + children.flatMap { $0.module.modules(path: joined(path, $0.name)) }
  }

  /// Every parameter below this module with its path.
  ///
  /// A tied one appears under each of its paths.
  ///
  /// - Parameter path: Path of this module.
  /// - Returns: Names as checkpoints spell them, in the order of the model.
  public func parameters(path: String = "") -> [(path: String, parameter: Parameter)] {
    modules(path: path).flatMap { entry in
      var own: [(path: String, parameter: Parameter)] = []
      entry.module.mapParameters { name, parameter in
        own.append((joined(entry.path, name), parameter))
        return parameter
      }
      return own
    }
  }

  /// The module at a path below this one.
  ///
  /// - Parameter path: Names joined by dots; empty for this module.
  /// - Returns: The module, or nil.
  public func module(at path: String) -> (any Module)? {
    modules().first { $0.path == path }?.module
  }
}

/// Joins two parts of a path by a dot, either of which may be empty.
package func joined(_ left: String, _ right: String) -> String {
  left.isEmpty ? right : right.isEmpty ? left : left + "." + right
}
