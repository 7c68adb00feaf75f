import Foundation

extension HubDownloader {
  /// Fetches a model into a directory of its own, which appears when it is whole.
  ///
  /// Until then what has arrived lies beside it, in `.<name>.download`, from where the next attempt
  /// goes on. What the cache has is copied from there.
  ///
  /// - Parameters:
  ///   - model: The model or adapter.
  ///   - contents: What is wanted of it.
  ///   - directory: The directory to make.
  ///   - environment: Endpoint, token, cache and whether the network may be used.
  ///   - parallelFiles: Files that are fetched at the same time.
  ///   - report: Called on several threads.
  /// - Returns: Where it is.
  /// - Throws: ``HubError`` or ``CheckpointError``.
  public static func download(
    _ model: HubModelName, _ contents: HubContents = .any, to directory: String,
    environment: HubEnvironment = HubEnvironment(), parallelFiles: Int = 4,
    report: @escaping @Sendable (HubProgress) -> Void = { _ in }
  ) throws -> HubSnapshot {
    try makeParentDirectory(of: directory)
    let output = try AtomicDirectory(path: directory)
    let shared = HubCache(directory: environment.cacheDirectory)
    if environment.isOffline {
      let found = try HubDownloader(environment: environment).download(
        model, contents, report: report)
      try copy(found.directory, to: output.temporaryPath)
      try output.commit()
      return HubSnapshot(model: model, commit: found.commit, directory: directory, files: [])
    }
    let parent = parentDirectory(of: directory)
    let staging = HubCache(directory: "\(parent)/.\(lastComponent(of: directory)).download")
    let downloader = HubDownloader(
      environment: environment, cache: staging, source: shared, parallelFiles: parallelFiles)
    let found = try downloader.download(model, contents, report: report)
    try copy(found.directory, to: output.temporaryPath, links: true)
    try output.commit()
    removeTree(staging.directory)
    return HubSnapshot(
      model: model, commit: found.commit, directory: directory, files: found.files)
  }

  /// Copies files with the content that their links lead to; `links` gives a content that is to be
  /// removed afterwards a second name instead.
  private static func copy(_ source: String, to destination: String, links: Bool = false) throws {
    var used: Set<String> = []
    for path in try FileManager.default.subpathsOfDirectory(atPath: source).sorted() {
      let content = URL(fileURLWithPath: "\(source)/\(path)").resolvingSymlinksInPath().path
      var status = stat()
      guard stat(content, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
      let place = "\(destination)/\(path)"
      try makeParentDirectory(of: place)
      if links, used.insert(content).inserted, link(content, place) == 0 { continue }
      do {
        try FileManager.default.copyItem(atPath: content, toPath: place)
      } catch {
        throw CheckpointError.cannotWrite(path: place, reason: error.localizedDescription)
      }
    }
  }
}
