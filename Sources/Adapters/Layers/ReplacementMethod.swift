/// A method that replaces whole modules by copies of its own, which are trained.
///
/// Its adapters have no numbers beside those copies, which act in place of the originals; merging
/// them leaves the copies where they are.
protocol ReplacementMethod: LayerConfiguration {
  /// What files put between a module's path and a parameter's name.
  static var infix: String { get }
}
