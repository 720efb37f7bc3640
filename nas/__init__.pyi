"""The public names of ``nas`` and their homes: the one list, which ``__init__.py`` and type checkers read."""

from nas.bundles.agreement import Agreement as Agreement
from nas.bundles.changes import Moved as Moved
from nas.bundles.drifting import Drift as Drift, DriftedWinner as DriftedWinner, drift as drift
from nas.bundles.exporting import ExportedForm as ExportedForm, export_bundle as export_bundle
from nas.bundles.measuring import Effort as Effort
from nas.bundles.verified import Check as Check, VerifiedBundle as VerifiedBundle
from nas.bundles.verifying import verify_bundle as verify_bundle
from nas.errors import (
    CandidateError as CandidateError,
    DataError as DataError,
    JournalError as JournalError,
    LimitError as LimitError,
    NasError as NasError,
    RecipeError as RecipeError,
    RepeatedFailureError as RepeatedFailureError,
    SpaceError as SpaceError,
    TargetError as TargetError,
    did_you_mean as did_you_mean,
    raised_text as raised_text,
)
from nas.formats.export import export_model as export_model, export_onnx as export_onnx, parity as parity
from nas.formats.onnx_session import load_onnxruntime as load_onnxruntime, outputs_of as outputs_of
from nas.hardware.bench import Bench as Bench
from nas.hardware.benchmarking import DeviceBench as DeviceBench
from nas.hardware.file_measuring import MeasuredFile as MeasuredFile
from nas.hardware.latency_rounds import BenchSettings as BenchSettings
from nas.hardware.machine import (
    allowed_cores as allowed_cores,
    default_workers as default_workers,
    fastest_cores as fastest_cores,
    processor_name as processor_name,
    usable_memory_bytes as usable_memory_bytes,
)
from nas.hardware.measuring import vary_constant_weights as vary_constant_weights
from nas.hardware.model_measuring import compare as compare, measure as measure
from nas.hardware.runtimes.environments import Environment as Environment
from nas.hardware.runtimes.runtime import (
    Deployed as Deployed,
    ExportedModel as ExportedModel,
    Runtime as Runtime,
    Session as Session,
    TimedSession as TimedSession,
    load_runtime as load_runtime,
)
from nas.hardware.runtimes.worker import Timing as Timing
from nas.jobs.execution import Job as Job, Report as Report
from nas.jobs.ray_executor import RayExecutor as RayExecutor
from nas.jobs.resources import Resources as Resources
from nas.prediction.medoids import medoids as medoids
from nas.prediction.one_thread import one_thread as one_thread
from nas.prediction.predictor import (
    MIN_SAMPLES as MIN_SAMPLES,
    Batch as Batch,
    Given as Given,
    HeldOut as HeldOut,
    Prediction as Prediction,
    Predictor as Predictor,
    PredictorMethod as PredictorMethod,
    batch_of as batch_of,
    load_predictor as load_predictor,
)
from nas.progress import NullProgress as NullProgress, PlainProgress as PlainProgress, Progress as Progress
from nas.recipe.recipe import Recipe as Recipe, read_recipe as read_recipe
from nas.recipe.toml_text import apply_overrides as apply_overrides
from nas.recipe.training_sections import EarlyStoppingRecipe as EarlyStoppingRecipe
from nas.reports.drawing.drawing import draw as draw
from nas.results.bundle import Bundle as Bundle
from nas.results.data_of_run import source_of as source_of
from nas.results.exports.export import (
    Export as Export,
    Exported as Exported,
    FileExport as FileExport,
    TrackedExport as TrackedExport,
    Tracker as Tracker,
)
from nas.results.exports.tracked import RunFacts as RunFacts
from nas.results.front import Front as Front
from nas.results.run import Run as Run
from nas.results.run_folder import load_run as load_run
from nas.results.seeds import Earlier as Earlier, OverSeeds as OverSeeds
from nas.results.solved import Solved as Solved, SolvedPoint as SolvedPoint
from nas.results.winner import Winner as Winner
from nas.searching.instruments import Instruments as Instruments
from nas.searching.later_retraining.retrain import retrain as retrain
from nas.searching.proposer import (
    EXPECTED as EXPECTED,
    SECONDS as SECONDS,
    Beforehand as Beforehand,
    Proposal as Proposal,
    Proposer as Proposer,
    SamplerMaker as SamplerMaker,
    Told as Told,
    load_sampler as load_sampler,
)
from nas.searching.run import resume as resume, search as search
from nas.searching.screening import Verdict as Verdict
from nas.searching.selection import spread_over_front as spread_over_front
from nas.searching.shrinking import shrink as shrink
from nas.searching.solving.chosen_models import measure_run as measure_run
from nas.searching.solving.solve import solve as solve
from nas.space.architecture import Architecture as Architecture, Choice as Choice, Option as Option
from nas.space.description import (
    QUANTITIES as QUANTITIES,
    Describer as Describer,
    Descriptions as Descriptions,
    GroupedLayer as GroupedLayer,
    LayerGroup as LayerGroup,
)
from nas.space.layer import Layer as Layer, total_macs as total_macs, total_params as total_params
from nas.space.listing import HasListing as HasListing, HasNumbers as HasNumbers, Listing as Listing
from nas.space.name_parts import is_of_names as is_of_names, part_columns as part_columns
from nas.space.own_code import own_code as own_code
from nas.space.parts.encoding import decode as decode, encode as encode
from nas.space.parts.known_values import HasKnown as HasKnown
from nas.space.parts.own_fit import FitsItself as FitsItself
from nas.space.parts.own_inputs import HasInputs as HasInputs, signature_of as signature_of, wishes_of as wishes_of
from nas.space.parts.parents import HasFirst as HasFirst, HasParent as HasParent
from nas.space.parts.start_weights import HasOrigin as HasOrigin, HasStart as HasStart, load_start as load_start
from nas.space.plug_ins import (
    load_plug_in as load_plug_in,
    parameters_of as parameters_of,
    plug_in_names as plug_in_names,
)
from nas.space.rules import check_space as check_space
from nas.space.search_space import (
    HasCanonical as HasCanonical,
    HasLayers as HasLayers,
    HasSupernet as HasSupernet,
    SearchSpace as SearchSpace,
    Supernet as Supernet,
    architecture_from as architecture_from,
    count as count,
    cross as cross,
    enumerate_space as enumerate_space,
    is_active as is_active,
    load_space as load_space,
    mutate as mutate,
    neighbours as neighbours,
    sample as sample,
    settle as settle,
)
from nas.space.signature import (
    Accepts as Accepts,
    Signature as Signature,
    TensorType as TensorType,
    image_inputs as image_inputs,
    image_signature as image_signature,
)
from nas.space.tracing import (
    build_checked as build_checked,
    describer_of as describer_of,
    layers_of as layers_of,
    random_inputs as random_inputs,
    trace_layers as trace_layers,
    zero_inputs as zero_inputs,
)
from nas.storage.home import home as home
from nas.storage.journal import write_aside as write_aside
from nas.storage.journal_rows import Fit as Fit
from nas.tables.row_space import RowSpace as RowSpace
from nas.tables.table import Table as Table, read_table as read_table
from nas.tables.table_prior import TablePrior as TablePrior
from nas.tasks.batches import Items as Items, items_at as items_at
from nas.tasks.criteria import (
    Classification as Classification,
    Criterion as Criterion,
    MultiLabel as MultiLabel,
    NextToken as NextToken,
    Regression as Regression,
)
from nas.tasks.data_sets import DataSetTask as DataSetTask
from nas.tasks.data_source import DataSource as DataSource
from nas.tasks.images.images import Images as Images
from nas.tasks.images.splits import Split as Split
from nas.tasks.loading import load_data as load_data
from nas.tasks.scores import (
    Score as Score,
    Tally as Tally,
    bounded_score as bounded_score,
    free_score as free_score,
    share_of_items as share_of_items,
)
from nas.tasks.signals.signals import Signals as Signals
from nas.tasks.tabular.tabular import Tabular as Tabular
from nas.tasks.task import Baseline as Baseline, Preparation as Preparation, Task as Task
from nas.training.early_stopping import (
    EarlyStopping as EarlyStopping,
    RungTrust as RungTrust,
    rung_epochs as rung_epochs,
    rung_subsets as rung_subsets,
    trust_in_rungs as trust_in_rungs,
)
from nas.training.modules import error_of as error_of, metrics_on as metrics_on
from nas.training.own.function import OwnSettings as OwnSettings
from nas.training.own.work import OwnTraining as OwnTraining
from nas.training.pareto_pruner import ParetoPruner as ParetoPruner
from nas.training.settings import (
    TrainingSettings as TrainingSettings,
    training_seed as training_seed,
    training_settings as training_settings,
)
from nas.training.supernet import SharedEvaluation as SharedEvaluation, SharedWeights as SharedWeights
from nas.training.supernet_training import SupernetTraining as SupernetTraining
from nas.training.trainer import Trainer as Trainer
from nas.training.training import CandidateTraining as CandidateTraining
from nas.training.zero_cost import naswot as naswot, snip as snip, synflow as synflow
from nas.values.error_words import ErrorWords as ErrorWords
from nas.values.evaluation import Evaluation as Evaluation, Failure as Failure, PredictedValue as PredictedValue
from nas.values.held_out import HeldOutError as HeldOutError
from nas.values.layer_times import LayerTime as LayerTime, LayerTimes as LayerTimes
from nas.values.measurement import Interval as Interval, Measurement as Measurement
from nas.values.metric import METRICS as METRICS, Metric as Metric
from nas.values.objective import Limit as Limit, Objective as Objective
from nas.values.other_target import Source as Source
from nas.values.paired_comparison import Comparison as Comparison
from nas.values.pareto import (
    BoolArray as BoolArray,
    FloatArray as FloatArray,
    IntArray as IntArray,
    crowding_distances as crowding_distances,
    hypervolume as hypervolume,
    hypervolume_contributions as hypervolume_contributions,
    non_dominated as non_dominated,
    ranks as ranks,
)
from nas.values.rank_correlation import RankCorrelation as RankCorrelation, rank_correlation as rank_correlation
from nas.values.target import Target as Target

__version__: str
