extension FileResolution {
  /// Resolves a DeepSpeed file.
  ///
  /// - Throws: ``RecipeError`` for keys that are not known or values of the wrong kind.
  mutating func resolveDeepSpeed() throws {
    // Names and kinds first: what follows takes them for granted.
    try check(DeepSpeedKeys.all)
    resolveBatches()
    resolveClipping()
    resolveZero()
    resolvePrecision()
    resolveOptimizer()
    resolveSchedule()
    resolveOthers()
  }
}
