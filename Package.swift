// swift-tools-version: 6.1
import PackageDescription

// LibTorch is found through a pkg-config file that scripts/bootstrap writes at a fixed place of the
// user's. SwiftPM looks for "<search directory>/<name>.pc"; a name that climbs out of the search
// directory reaches any file, so that no environment variable and no unsafe flag is needed, here and
// in packages that depend on this one by version.
// As in the scripts, an empty variable is one that is not set.
let environment = Context.environment.filter { !$0.value.isEmpty }
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
func tests(
  of name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = []
) -> Target {
  .testTarget(
    name: name + "Tests", dependencies: [.init(stringLiteral: name)] + dependencies,
    exclude: exclude, swiftSettings: settings)
}

let package = Package(
  name: "graft",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "Graft", targets: ["Graft"]),
    .executable(name: "graft", targets: ["graft"]),
  ],
  targets: [
    // Libraries of the system.
    .systemLibrary(name: "CLibTorch", pkgConfig: libTorch),
    .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto"),
    .systemLibrary(name: "CPCRE2", pkgConfig: "libpcre2-8"),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1"),

    // Floor 0: what knows nothing of the rest.
    .target(name: "CKernels"),
    // LibTorch is built with NDEBUG: read without it, its headers check in our code what the library
    // does not set.
    .target(name: "CTorch", dependencies: ["CLibTorch"], cxxSettings: [.define("NDEBUG")]),
    .target(name: "CJSONParser", linkerSettings: [.linkedLibrary("simdjson")]),
    module("JSONValues", ["CJSONParser"]),
    module("CommandLineParsing"),
    module("Tokenizers", ["CPCRE2", "JSONValues"]),
    // Floor 1.
    module("Tensors", ["CKernels", "CTorch"]),

    // Floor 2.
    module("Layers", ["CKernels", "Tensors"]),
    module("Collectives", ["CTorch", "Tensors"]),
    module("Checkpoints", ["CCrypto", "Tensors", "JSONValues"]),
    module("Datasets", ["JSONValues", "Tokenizers"]),
    // Floor 3.
    module("Quantization", ["CKernels", "Checkpoints", "JSONValues", "Layers", "Tensors"]),
    module(
      "Models", ["CKernels", "Checkpoints", "JSONValues", "Layers", "Quantization", "Tensors"]),
    module(
      "Adapters",
      ["Checkpoints", "CommandLineParsing", "JSONValues", "Layers", "Models", "Tensors"]),

    // Floor 4.
    module("Optimizers", ["CKernels", "Checkpoints", "Layers", "Quantization", "Tensors"]),
    // Floor 5.
    module(
      "Distributed",
      ["Checkpoints", "Collectives", "Datasets", "JSONValues", "Layers", "Optimizers", "Tensors"]),
    // Floor 6.
    module(
      "Training",
      [
        "Adapters", "Checkpoints", "Collectives", "Datasets", "Distributed", "JSONValues", "Layers",
        "Models", "Optimizers", "Tensors",
      ]),
    // Floors 7 and 8.
    module(
      "GraftCommands",
      [
        "CYAML", "Adapters", "Checkpoints", "Collectives", "CommandLineParsing", "Datasets",
        "Distributed", "JSONValues", "Layers", "Models", "Optimizers", "Quantization", "Tensors",
        "Tokenizers", "Training",
      ]),
    .executableTarget(
      name: "graft", dependencies: ["GraftCommands"], path: "Sources/GraftExecutable",
      swiftSettings: settings),

    // The examples of README.md, run by the tests.
    .executableTarget(
      name: "LibraryExample", dependencies: ["Graft"], path: "Examples/library",
      swiftSettings: settings),
    .executableTarget(
      name: "Seq2SeqExample", dependencies: ["Graft"], path: "Examples/seq2seq",
      swiftSettings: settings),

    // Timed by Benchmarks/run.
    .executableTarget(
      name: "QuantizationBenchmark",
      dependencies: ["Layers", "Optimizers", "Quantization", "Tensors"],
      path: "Benchmarks/quantization", swiftSettings: settings),

    .executableTarget(
      name: "DecompositionBenchmark", dependencies: ["Adapters", "Tensors"],
      path: "Benchmarks/decomposition", swiftSettings: settings),

    // For users of the library.
    module(
      "Graft",
      [
        "Adapters", "Checkpoints", "Collectives", "Datasets", "Distributed", "Layers", "Models",
        "Optimizers", "Quantization", "Tensors", "Tokenizers", "Training",
      ]),

    // A process of a group, run by the tests.
    .executableTarget(
      name: "CollectivesPeer",
      dependencies: [
        "Checkpoints", "Collectives", "Datasets", "Distributed", "Layers", "Optimizers", "Tensors",
      ],
      path: "Tests/CollectivesPeer", swiftSettings: settings),

    // Tests, and what they share.
    .target(
      name: "TestSupport",
      dependencies: ["CKernels", "Checkpoints", "Collectives", "JSONValues", "Tensors"],
      path: "Tests/TestSupport",
      swiftSettings: settings),
    tests(of: "Tensors", ["TestSupport"]),
    tests(of: "Layers", ["CKernels", "Tensors", "TestSupport"]),
    tests(of: "Collectives", ["CollectivesPeer", "Tensors", "TestSupport"]),
    tests(of: "JSONValues"),
    tests(of: "Tokenizers", ["JSONValues", "TestSupport"], exclude: ["Fixtures"]),
    tests(of: "CommandLineParsing"),
    tests(of: "Checkpoints", ["JSONValues", "Tensors", "TestSupport"], exclude: ["Fixtures"]),
    tests(of: "Datasets", ["JSONValues", "Tokenizers"]),
    tests(
      of: "Distributed",
      ["Checkpoints", "CollectivesPeer", "Layers", "Optimizers", "Tensors", "TestSupport"]),
    tests(
      of: "Optimizers",
      ["CKernels", "Checkpoints", "Layers", "Quantization", "Tensors", "TestSupport"]),
    tests(
      of: "Quantization",
      ["CKernels", "Checkpoints", "JSONValues", "Layers", "Models", "Tensors", "TestSupport"]),
    tests(
      of: "Models",
      ["Checkpoints", "JSONValues", "Layers", "Quantization", "Tensors", "TestSupport"],
      exclude: ["EncoderDecoderFixtures", "EncoderFixtures", "Fixtures", "Seq2SeqFixtures"]),
    tests(
      of: "Adapters",
      ["Checkpoints", "JSONValues", "Layers", "Models", "Quantization", "Tensors", "TestSupport"],
      exclude: ["EncoderDecoderFixtures", "EncoderFixtures", "Fixtures"]),
    tests(
      of: "Training",
      [
        "Adapters", "Checkpoints", "Datasets", "JSONValues", "Models", "TestSupport", "Tokenizers",
      ]),
    // These run the built programs.
    .testTarget(
      name: "GraftCommandsTests",
      dependencies: [
        "Checkpoints", "JSONValues", "LibraryExample", "Seq2SeqExample", "Tensors", "TestSupport",
        "graft",
      ],
      swiftSettings: settings),
  ],
  cxxLanguageStandard: .cxx20
)
