// swift-tools-version: 6.1
import PackageDescription

// LibTorch is found through a pkg-config file that scripts/bootstrap writes at a fixed place of the
// user's. SwiftPM looks for "<search directory>/<name>.pc"; a name that climbs out of the search
// directory reaches any file, so that no environment variable and no unsafe flag is needed, here and
// in packages that depend on this one by version.
let environment = Context.environment
let graftHome =
  environment["GRAFT_HOME"]
  ?? (environment["XDG_DATA_HOME"] ?? (environment["HOME"] ?? "/root") + "/.local/share") + "/graft"
let libTorch =
  String(repeating: "../", count: 12) + graftHome.drop(while: { $0 == "/" })
  + "/pkgconfig/graft-libtorch"

let settings: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

/// One library target of this package; every one follows the same settings.
func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

/// The tests of one target, in Tests/<name>Tests.
func tests(of name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .testTarget(
    name: name + "Tests", dependencies: [.init(stringLiteral: name)] + dependencies,
    swiftSettings: settings)
}

let package = Package(
  name: "graft",
  products: [
    .library(name: "Tensors", targets: ["Tensors"]),
  ],
  targets: [
    // Libraries of the system.
    .systemLibrary(name: "CLibTorch", pkgConfig: libTorch),


    // Floor 0: what knows nothing of the rest.
    .target(name: "CTorch", dependencies: ["CLibTorch"]),
    .target(name: "CJSONParser", linkerSettings: [.linkedLibrary("simdjson")]),
    module("JSONValues", ["CJSONParser"]),
    // Floor 1.
    module("Tensors", ["CTorch"]),

    // Floor 2.
    module("Layers", ["Tensors"]),
    module("Checkpoints", ["Tensors", "JSONValues"]),
    // Floor 3.
    module("Models", ["Checkpoints", "JSONValues", "Layers", "Tensors"]),
    module("Adapters", ["Checkpoints", "JSONValues", "Layers", "Models", "Tensors"]),

    // Tests, and what they share.
    .target(
      name: "TestSupport", dependencies: ["Tensors"], path: "Tests/TestSupport",
      swiftSettings: settings),
    tests(of: "Tensors", ["TestSupport"]),
    tests(of: "Layers", ["Tensors", "TestSupport"]),
  ],
  cxxLanguageStandard: .cxx20
)
