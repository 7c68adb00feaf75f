public import Adapters
public import Checkpoints
public import CommandLineParsing
public import Datasets
public import Models

// Enumerations of other modules that options take by their names.
extension GGUFImporter.DType: OptionValue {}
extension GGUFExporter.Storage: OptionValue {}
extension ExampleEncoder.PromptStyle: OptionValue {}
extension BiasTraining: OptionValue {}
extension AdapterCombination.Kind: OptionValue {}
extension AdapterCombination.MajoritySign: OptionValue {}
extension ExtractionOptions.Algorithm: OptionValue {}
extension ModelTask: OptionValue {}
extension ProblemType: OptionValue {}
